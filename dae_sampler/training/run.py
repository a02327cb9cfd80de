"""A run is one folder: config.json, metrics.csv, samples/*.png, state.safetensors to resume from, and the models.

All but TensorBoard's events is replaced whole or not at all, so a run that was killed at any moment resumes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files import locked, replacing, sweep

if TYPE_CHECKING:
    from torch import Tensor


class Run:
    """The folder of a training run.

    Attributes:
        folder: where it is.
        config_file, state_file, metrics_file: its parts.
        config: what config.json is to say once training begins, if anything.
    """

    config: dict[str, Any] | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / "config.json"
        self.state_file = folder / "state.safetensors"
        self.metrics_file = folder / "metrics.csv"

    @classmethod
    def open(cls, folder: Path) -> Run:
        """The run in ``folder``.

        Raises:
            InputError: there is none.
        """
        run = cls(folder)
        if not run.config_file.is_file():
            raise InputError(f"{folder} holds no run to resume: leave out `resume` to start one")
        return run

    def read_config(self) -> dict[str, Any]:
        """The content of config.json."""
        try:
            return dict(json.loads(self.config_file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{self.config_file} cannot be read ({error}): restore it or start a new run") from None

    def begin(self) -> None:
        """Write config.json: nothing is left that the job could be refused for."""
        if self.config:
            with replacing(self.config_file) as temporary:
                temporary.write_text(json.dumps(self.config, indent=2) + "\n")

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv."""
        if not self.metrics_file.is_file():
            return []
        try:
            with self.metrics_file.open(newline="") as file:
                rows = list(csv.DictReader(file))
            return [row for row in rows if int(row["step"]) >= 0]
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise InputError(f"{self.metrics_file} is damaged ({error}): restore or delete it") from None

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Add a row to metrics.csv, in place of any of this step or later: those were not saved and are made again."""
        rows = [old for old in self.read_metrics() if int(old["step"]) < row["step"]]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(row), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row])
        with replacing(self.metrics_file) as temporary:
            temporary.write_text(text.getvalue())

    def save_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Replace the one state file."""
        from safetensors.torch import save_file

        with replacing(self.state_file) as temporary:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"run": json.dumps(numbers)})

    def abandon(self) -> None:
        """Remove the folder if no training has begun in it."""
        if not self.config_file.exists():
            with suppress(OSError):  # something else is in it
                self.folder.rmdir()
                if self.folder.parent == Path("runs"):
                    self.folder.parent.rmdir()

    def done(self) -> int:
        """Steps that the saved state stands for, 0 without one."""
        if not self.state_file.exists():
            return 0
        return int(self._read_state(lambda file: json.loads(file.metadata()["run"])["step"]))

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What :meth:`save_state` wrote, or None before the first time.

        Raises:
            InputError: the file is damaged.
        """
        if not self.state_file.exists():
            return None

        def use(file: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(json.loads(file.metadata()["run"]))

        return self._read_state(use)

    def _read_state(self, use: Callable[[Any], Any]) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.state_file, framework="pt") as file:
                return use(file)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.state_file} is damaged ({error}): delete it to start the run over") from None

    @contextmanager
    def lock(self) -> Generator[None]:
        """Keep other processes out of the run, and sweep up after killed ones; released however this process ends.

        Raises:
            InputError: another process is training in this folder.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder, wait=False))
            except BlockingIOError:
                raise InputError(
                    f"another process is training in {self.folder}: wait for it, or give another `out`"
                ) from None
            sweep(self.folder)
            yield
