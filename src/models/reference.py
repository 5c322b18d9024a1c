"""Weights and settings of the authors' released code, in ours.

A reference checkpoint is `torch.save(state_dict)`; its YAML settings are dotted keys over defaults.
Nothing of that code is needed or used.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dact.errors import UserError
from dact.options import (
    PENALTIES,
    DropoutOptions,
    GateOptions,
    NetworkOptions,
    PonderOptions,
)

_SHARED_DEFAULTS = {
    "SOLVER.LR": 1e-4,
    "SOLVER.USE_SCHEDULER": True,
    "ACT.SMOOTH": True,
    "ACT.HALT_TEST": True,
    "ACT.PENALTY_TYPE": "unit",
    "ACT.EXP_PENALTY_PHASE": 7,
    "ACT.LINEAR_PENALTY_PHASE": 5,
    "ACT.PENALTY_COEF": 1e-3,
    "ACT.MIN_PENALTY": 1.0,
    "ACT.BASELINE.EPSILON": 0.01,
    "MAC.DIM": 512,
    "MAC.EMBD_DIM": 300,
    "MAC.STEM_DROPOUT": 0.18,
    "MAC.QUESTION_DROPOUT": 0.08,
    "MAC.MEM_DROPOUT": 0.15,
    "MAC.READ_DROPOUT": 0.15,
    "MAC.OUTPUT_DROPOUT": 0.15,
    "MAC.GATE_DROPOUT": 0.0,
    "MAC.SELF_ATT": False,
    "MAC.MEMORY_GATE": False,
    "MAC.MEMORY_GATE_DIMS": [],
    "MAC.MEMORY_GATE_INPUT_CONT": True,
    "MAC.MEMORY_GATE_INPUT_MEM": False,
    "MAC.MEMORY_GATE_INPUT_Q": False,
    "MAC.MEMORY_GATE_BIAS": 1.0,
    "MAC.USE_ACT": False,
    "MAC.INIT_CNTRL_AS_Q": True,
    "MAC.MEMORY_VAR_DROPOUT": True,
}

#: The reference's defaults for each of its two modes.
DEFAULTS = {
    "clevr": {
        **_SHARED_DEFAULTS,
        "ACT.MAX_ITER": 12,
        "MAC.KNOW_DIM": 1024,
        "MAC.STEM_FILTER_SIZE": 3,
        "SOLVER.EPOCHS": 10,
        "INPUT.N_VOCAB": 90,
        "OUTPUT.DIM": 28,
    },
    "gqa": {
        **_SHARED_DEFAULTS,
        "ACT.MAX_ITER": 4,
        "MAC.KNOW_DIM": 2048,
        "MAC.STEM_FILTER_SIZE": 1,
        "SOLVER.EPOCHS": 5,
        "INPUT.N_VOCAB": 2938,
        "OUTPUT.DIM": 1846,
    },
}

_PREFIXES = {
    "embed.": "encoder.embedding.",
    "actmac.controller.control.shared_control_proj.": "cell.control.question.",
    "actmac.controller.control.position_aware.": "cell.control.positions.",
    "actmac.controller.control.control_question.": "cell.control.combine.",
    "actmac.controller.control.attn.": "cell.control.attention.score.",
    "actmac.controller.read.mem_proj.": "cell.read.memory.",
    "actmac.controller.read.kb_proj.": "cell.read.knowledge.",
    "actmac.controller.read.concat.": "cell.read.combine.",
    "actmac.controller.read.concat2.": "cell.read.interact.",
    "actmac.controller.read.attn.": "cell.read.score.",
    "actmac.controller.write.concat.": "cell.write.combine.",
    "actmac.controller.write.control.": "cell.write.control.",
    "actmac.controller.write.attn.": "cell.write.attention.score.",
    "actmac.classifier.question_proj.": "head.question.",
    "actmac.classifier.classifier_out.1.": "head.hidden.",
    "actmac.classifier.classifier_out.4.": "head.output.",
}


def settings(overrides: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """A reference configuration file's dotted keys over its defaults; `mode` is clevr or gqa."""
    if mode not in DEFAULTS:
        raise UserError(f"mode is clevr or gqa, not {mode!r}")
    defaults = DEFAULTS[mode]
    given = {
        key: _as_kind_of(defaults[key], value, key)
        for key, value in overrides.items()
        if key in defaults
    }
    found = {**overrides, **defaults, **given}
    _only(found, "ACT.PENALTY_TYPE", PENALTIES)
    _only(found, "MAC.STEM_PAD", (found["MAC.STEM_FILTER_SIZE"] // 2, None))
    return found


def _as_kind_of(default: Any, value: Any, key: str) -> Any:
    """`value` as the type of `default`; YAML reads 1e-2 as text."""
    try:
        if isinstance(default, bool) != isinstance(value, bool):
            raise TypeError
        return type(default)(value)
    except (TypeError, ValueError) as error:
        kind = type(default).__name__
        raise UserError(f"the settings' {key} is {value!r}, which is no {kind}") from error


def _only(values: Mapping[str, Any], key: str, known: Sequence[Any]) -> None:
    if values.get(key) not in known:
        names = " or ".join(str(one) for one in known if one is not None)
        raise UserError(f"the settings' {key} is {values[key]!r}: only {names} is known")


def network_options(values: Mapping[str, Any]) -> NetworkOptions:
    """Our options for a network of the reference, from its completed `settings`."""
    adaptive = values["MAC.USE_ACT"]
    smooth = values["ACT.SMOOTH"]
    fixed = "mac_gate" if values["MAC.MEMORY_GATE"] else "mac"
    flags = {
        "control": values["MAC.MEMORY_GATE_INPUT_CONT"],
        "memory": values["MAC.MEMORY_GATE_INPUT_MEM"],
        "question": values["MAC.MEMORY_GATE_INPUT_Q"],
    }
    return NetworkOptions(
        name=("dact" if smooth else "act") if adaptive else fixed,
        dim=values["MAC.DIM"],
        max_steps=values["ACT.MAX_ITER"],
        embedding_dim=values["MAC.EMBD_DIM"],
        stem_kernel=values["MAC.STEM_FILTER_SIZE"],
        self_attention=values["MAC.SELF_ATT"],
        control_init="question" if values["MAC.INIT_CNTRL_AS_Q"] else "learned",
        gate=GateOptions(
            inputs=[name for name, used in flags.items() if used],
            hidden_dims=list(values["MAC.MEMORY_GATE_DIMS"]),
            bias=float(values["MAC.MEMORY_GATE_BIAS"]),
            dropout=values["MAC.GATE_DROPOUT"],
        ),
        dropout=DropoutOptions(
            stem=values["MAC.STEM_DROPOUT"],
            question=values["MAC.QUESTION_DROPOUT"],
            memory=values["MAC.MEM_DROPOUT"],
            read=values["MAC.READ_DROPOUT"],
            output=values["MAC.OUTPUT_DROPOUT"],
            variational_memory=values["MAC.MEMORY_VAR_DROPOUT"],
        ),
        # The reference knows the paper's bound only; a DACT that may not halt runs all steps.
        halting_bound="paper" if values["ACT.HALT_TEST"] else None,
        epsilon=values["ACT.BASELINE.EPSILON"],
    )


def ponder_options(values: Mapping[str, Any]) -> PonderOptions:
    """Our ponder options for a network of the reference, from its completed `settings`."""
    penalty = values["ACT.PENALTY_TYPE"]
    phase = None if penalty == "unit" else float(values[f"ACT.{penalty.upper()}_PENALTY_PHASE"])
    return PonderOptions(
        cost=float(values["ACT.PENALTY_COEF"]),
        penalty=penalty,
        phase=phase,
        min_penalty=float(values["ACT.MIN_PENALTY"]),
    )


def parameter_name(name: str, options: NetworkOptions) -> str:
    """Our name of a reference parameter; an unknown one is a UserError."""
    for theirs, ours in _PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    if name.startswith("lstm."):
        weight = name.removeprefix("lstm.")
        direction = "backward" if weight.endswith("_reverse") else "forward"
        return f"encoder.{direction}_lstm.{weight.removesuffix('_reverse')}"
    stem = "conv" if options.stem_kernel > 1 else "linear"
    gate = "cell.memory_gate" if options.name == "mac_gate" else "policy.halting"
    renamed = {
        "actmac.controller.mem_0": "cell.initial_memory",
        "actmac.controller.control_0": "cell.initial_control",
        **{f"conv.1.{part}": f"stem.{stem}1.{part}" for part in ("weight", "bias")},
        **{f"conv.4.{part}": f"stem.{stem}2.{part}" for part in ("weight", "bias")},
    }
    if name in renamed:
        return renamed[name]
    if name.startswith("actmac.gate.gate_linear_"):
        return f"{gate}.linears." + name.removeprefix("actmac.gate.gate_linear_")
    raise UserError(f"the reference checkpoint holds an unknown parameter, {name}")


def convert_tensor(name: str, value: Tensor, options: NetworkOptions) -> Tensor:
    """A reference tensor in our shape: 1×1 convolutions are linear, initial states are vectors."""
    if name.startswith("conv.") and value.dim() == 4 and options.stem_kernel == 1:
        return value[:, :, 0, 0]
    if name in ("actmac.controller.mem_0", "actmac.controller.control_0"):
        return value[0]
    return value


def convert_state_dict(
    state_dict: Mapping[str, Tensor], options: NetworkOptions
) -> dict[str, Tensor]:
    """A reference state dict with our names and shapes, in its order."""
    return {
        parameter_name(name, options): convert_tensor(name, value, options)
        for name, value in state_dict.items()
    }
