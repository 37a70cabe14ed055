"""`python -m node` is `marrow-node`."""

from node.cli import main

main()
