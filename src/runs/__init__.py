"""What a command does: one file per kind of run, the same layer as `run.py`.

These files and `run.py` are the only ones that see a whole configuration. They are loaded once it
has passed its checks, so that a mistyped option is answered before PyTorch is.
"""
