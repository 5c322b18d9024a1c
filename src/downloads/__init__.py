"""Official archives of the datasets: fetched, checked and unpacked, in as many runs as it takes."""

from .download import download

__all__ = ["download"]
