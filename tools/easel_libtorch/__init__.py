"""How libtorch comes to a machine: the parts behind tools/libtorch.py. Standard library only.

- `folder`: what a usable libtorch folder is, and how one is made whole or not at all
- `wheels`: fetch the pinned wheels and unpack what the engine needs of them
- `python`: a folder of links into the torch of an existing Python
"""
