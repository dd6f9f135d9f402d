"""Everything that weightshare raises on purpose: one tree, each leaf with its facts, a hint and an exit code.

An error's message says what was found and what was expected; its hint says what to do next; its facts are attributes
for programs. Only the command line turns them into text and an exit status, and only once.
"""

from __future__ import annotations

import re
from typing import ClassVar


class WeightshareError(Exception):
    """Base of all errors a user can do something about.

    Attributes:
        message: what happened, in full sentences.
        hint: what to do next; may be empty.
        facts: the values behind the message, for programs.
        exit_code: the status the command line ends with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    @property
    def kind(self) -> str:
        """The error's name in JSON: the class name in snake case, without `_error`."""
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()
        return words.removesuffix("_error")


# ---- 2: the call itself


class UsageError(WeightshareError):
    """The arguments do not say something that can be done."""

    exit_code = 2


class MagnetError(UsageError):
    """A text that should be a magnet link is none, or lacks the part that is needed."""


# ---- 3: trust


class TrustError(WeightshareError):
    """Who made a release cannot be proven, or is not who it must be."""

    exit_code = 3


class UnsignedError(TrustError):
    """A release carries no manifest, or a manifest without a signature."""


class BadSignatureError(TrustError):
    """A signature does not hold over the bytes it stands beside."""


class UnknownPublisherError(TrustError):
    """A sound signature by a key that the user has not pinned. Facts: `fingerprint`, `public_key`, `name`."""


class ChangedPublisherError(TrustError):
    """A name the user has pinned, signed for by another key. Facts: `name`, `pinned`, `fingerprint`."""


class PublisherMismatchError(TrustError):
    """The magnet names one key and the manifest is signed by another. Facts: `expected`, `fingerprint`."""


class RevokedError(TrustError):
    """The key or the release was revoked."""


class RollbackError(TrustError):
    """A lower sequence than one already seen, where that is refused."""


class TeamRootError(TrustError):
    """A team's root that breaks the format, is missing, or does not follow from the one that is known."""


class ThresholdError(TrustError):
    """Fewer of a team's keys signed than it demands. Facts: `name`, `signed`, `threshold`."""


class RetiredKeyError(TrustError):
    """Signed by keys that the team has retired, and not named by it since. Facts: `name`, `fingerprint`."""


class StrippedSignatureError(TrustError):
    """A publisher known by two kinds of key, and the signature of one is missing. Facts: `name`, `missing`."""


class UnknownMirrorError(TrustError):
    """A countersignature by a key that the user has not pinned as a mirror's. Facts: `fingerprint`."""


class TooFewMirrorsError(TrustError):
    """Fewer known mirrors vouch for a release's bytes than were demanded. Facts: `required`, `counted`, `refused`."""


class KeyFileError(TrustError):
    """A key file that cannot be read, is no Ed25519 key, or wants another passphrase."""


class AgentError(TrustError):
    """The ssh-agent is not to be reached, declines to sign, or does not hold the key."""


class NotCheckedError(TrustError):
    """A signature of a kind that cannot be checked here: nothing is known of it, neither good nor bad."""


class PinError(TrustError):
    """A change to the known publishers that would silently replace a pinned key."""


# ---- 4: integrity


class IntegrityError(WeightshareError):
    """Bytes, or the metadata that describes them, do not hold."""

    exit_code = 4


class ManifestError(IntegrityError):
    """A manifest or its envelope breaks the format. Facts: `field`."""


class UnsupportedError(ManifestError):
    """A manifest of a version, or with a critical extension, that this program does not know."""


class MetainfoError(IntegrityError):
    """A torrent or its info dictionary breaks the format, or its hash is not the magnet's. Facts: `field`."""


class UnsafePathError(IntegrityError):
    """A path in a torrent or manifest that could land elsewhere or collide. Facts: `path`, `reason`."""


class TreeMismatchError(IntegrityError):
    """The torrent's file tree and the signed manifest differ. Facts: `path`, `problem`."""


class SafetensorsError(IntegrityError):
    """A safetensors header that breaks the format. Facts: `path`, `reason`."""


class GgufError(IntegrityError):
    """A GGUF header that breaks the format, or lies about what follows. Facts: `path`, `reason`."""


class CheckpointError(IntegrityError):
    """A checkpoint that is not whole: an index that names missing shards, a file that changed while read."""


class CorruptError(IntegrityError):
    """A file's bytes are not those that were signed. Facts: `path`, `pieces`, `expected`, `found`."""


class HubMismatchError(IntegrityError):
    """Files of a snapshot are not those that the Hub has at its commit. Facts: `paths`, `repo`, `revision`."""


# ---- 5: network


class NetworkError(WeightshareError):
    """The swarm did not deliver in time; what arrived is kept, and the same command resumes."""

    exit_code = 5


class NoPeersError(NetworkError):
    """Nobody to ask. Facts: `waited`."""


class MetadataTimeoutError(NetworkError):
    """Peers, but none gave the torrent's metadata. Facts: `waited`."""


class StalledError(NetworkError):
    """A transfer that made no progress for the time allowed. Facts: `waited`, `done`, `total`."""


class ManifestNotFoundError(NetworkError):
    """The signed manifest is nowhere to be had, and nothing is fetched without it."""


class ListenError(NetworkError):
    """The port cannot be listened on. Facts: `port`."""


class DownloadError(NetworkError):
    """A `.torrent` or manifest URL did not answer with what was asked. Facts: `url`."""


class SourceError(NetworkError):
    """The Hub or a mirror did not give what was asked. Facts: `url`, `status`, and those that have a property."""

    @property
    def fatal(self) -> bool:
        """Whether asking this source again is pointless."""
        return bool(self.facts.get("fatal"))

    @property
    def lacks(self) -> bool:
        """Whether it is this one file, or these bytes of it, that the source does not have; others it may."""
        return bool(self.facts.get("lacks"))

    @property
    def retry_at(self) -> float | None:
        """From when the source may be asked again, on the clock of `time.monotonic()`; None where nothing is known."""
        at = self.facts.get("retry_at")
        return at if isinstance(at, float) else None


class SourceAccessError(SourceError):
    """The Hub or a mirror does not let us in: gated, private, a wrong token, or no such repository."""


class SourceStoppedError(SourceError):
    """Reading from the Hub or a mirror ended because it was told to."""


class HubUnreachableError(DownloadError):
    """The Hub did not answer, or only that it cannot: nothing is known of what was asked. Facts: `url`."""


# ---- 6: store and disk


class StoreError(WeightshareError):
    """The local store or the disk stands in the way."""

    exit_code = 6


class ReleaseNotFoundError(StoreError):
    """No such release here. Facts: `release`."""


class AmbiguousReleaseError(StoreError):
    """More than one release answers to the name. Facts: `release`, `candidates`."""


class StoreLockedError(StoreError):
    """Another process works on the same release. Facts: `path`."""


class NoSpaceError(StoreError):
    """The disk is too small for what is to come. Facts: `path`, `needed`, `free`."""


class DiskError(StoreError):
    """The disk refused. Facts: `path`."""


class FileInTheWayError(StoreError):
    """A file stands where a different one must land; it is left alone. Facts: `path`."""


class WorkerError(StoreError):
    """A hashing process ended before it was done: killed, or out of memory. Facts: `status`."""


# ---- 7: load and run


class LoadError(WeightshareError):
    """The weights are proven but cannot be used here."""

    exit_code = 7


class MissingExtraError(LoadError):
    """An optional dependency is needed and not installed. Facts: `package`."""


class DeviceError(LoadError):
    """The device asked for is not there or too small. Facts: `device`."""


class UnsupportedModelError(LoadError):
    """The runner does not know this architecture or layout. Facts: `architecture`."""


# ---- 8: refused content


class RefusedContentError(WeightshareError):
    """Sound, but not published or fetched without a flag, or at all. Facts: `paths`."""

    exit_code = 8


class PickleError(RefusedContentError):
    """Files that run code when loaded."""


class UnsafeNameError(RefusedContentError):
    """Names that another system could not store, or would store elsewhere."""


class LinkError(RefusedContentError):
    """Symbolic links that leave the checkpoint."""
