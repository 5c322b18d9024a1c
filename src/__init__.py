"""DACT-MAC: differentiable adaptive computation time for visual reasoning."""

__version__ = "0.1.0"
