"""The bar that long commands of the command line show."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress


@contextmanager
def bar(title: str) -> Iterator[Callable[[float, str], None]]:
    """A callback (fraction, message) drawn as a bar."""
    with Progress(transient=True) as bars:
        task = bars.add_task(title, total=1.0)

        def say(done: float, message: str) -> None:
            bars.update(task, completed=done, description=f"{title}: {message}")

        yield say
