"""Files of checkpoints: written so that they are whole or not there, and checked when read."""

import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from dact.errors import UserError

#: Of an entry in a zip file's index: it is a folder. PyTorch then reads nothing, but says nothing.
_IS_FOLDER = 0x10


def read(path: Path) -> Any:
    """What a file of `torch.save` holds, running nothing that is in it.

    PyTorch itself does not compare the checksums that it writes.

    Raises:
        UserError: missing, damaged or malicious.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # guesses at what a damaged file may be
            _compare_checksums(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"checkpoint {path} does not exist") from error
    except PermissionError as error:
        raise UserError(f"checkpoint {path} may not be read: ask its owner") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"checkpoint {path} is damaged or holds something other than plain data: refused"
        ) from error
    except Exception as error:  # a damaged file raises nearly anything
        raise UserError(
            f"checkpoint {path} cannot be read (cut short or damaged): use an earlier one"
        ) from error


def _compare_checksums(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return  # which PyTorch refuses, if it is damaged
    with zipfile.ZipFile(path) as archive:
        folders = [one.filename for one in archive.infolist() if one.external_attr & _IS_FOLDER]
        if damaged := archive.testzip() or folders:
            raise zipfile.BadZipFile(str(damaged))


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint so that the file is either whole or not there, even if power fails.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()  # PyTorch hides what goes wrong with a file of the disk
    torch.save(dict(content), buffer)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # with the user's permissions
    try:
        with temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class WholeFiles(TorchCheckpointIO):
    """Lightning's way to its checkpoints, by `write` instead of its own."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """See Lightning.

        Raises:
            UserError: it cannot be written.
        """
        try:
            write(Path(path), checkpoint)
        except OSError as error:
            raise UserError(
                f"checkpoint {path} cannot be written ({error.strerror}): those of before are as "
                "they were; mend that, and go on with ckpt_path=last"
            ) from error
