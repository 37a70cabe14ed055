"""`python -m node` is `marrow-node`."""

from node.cli.commands import main

main()
