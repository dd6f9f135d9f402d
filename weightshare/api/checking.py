"""`verify`: hash a release again and hold it against what was signed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from weightshare.api.countersigning import Attester, Demand, Heard, load_signer, torrent_of
from weightshare.api.offering import locate, problems_of
from weightshare.api.repairing import Sources
from weightshare.api.repairing import repair as mend
from weightshare.api.results import FileVerdict, Verified
from weightshare.api.trusting import Trustee
from weightshare.content.home import Home
from weightshare.content.receipts import Receipt, save_receipts, void_receipts
from weightshare.content.store import Store
from weightshare.content.verifier import FileReport, check_folder
from weightshare.errors import BadSignatureError, RevokedError, UnknownPublisherError
from weightshare.progress import Observer, ignore
from weightshare.trust import sshsig
from weightshare.trust.gate import VerifiedManifest
from weightshare.trust.keys import PublicKey
from weightshare.trust.publishers import KnownPublishers


def verify(
    release: str,
    *,
    detached: Path | None = None,
    home: Home | None = None,
    trust: Sequence[str] = (),
    sign_as: str | Path | None = None,
    passphrase: Callable[[], str] | None = None,
    waiting: Callable[[str], None] | None = None,
    out: Path | None = None,
    force: bool = False,
    attestations: Sequence[str | Path] = (),
    require_mirrors: int = 0,
    repair: Sources | None = None,
    observe: Observer = ignore,
) -> Verified:
    """Hash every file of a release and compare it with the signed manifest.

    Args:
        release: a name, an info-hash or a folder.
        detached: a file with an SSH signature over the release's manifest, which must hold as well.
        home: where the store is.
        trust: fingerprints to pin if the publisher is unknown.
        sign_as: an Ed25519 key, named as for `publish`, that signs for the bytes as a mirror's
            once every file is found sound; None signs nothing.
        passphrase: asked when that key wants one.
        waiting: told what is waited for when an ssh-agent takes its time.
        out: where to write that countersignature; None names it after the torrent, in the working folder.
        force: replace a file that is there already.
        attestations: countersignatures by mirrors, to be held against this release.
        require_mirrors: how many distinct known mirrors they must be by; 0 only reports.
        repair: where to fetch what is damaged or missing; then all is hashed once more. None only reports.
        observe: told how it goes.

    Returns:
        A verdict for every file; bad bytes are a verdict, not an exception, and nothing is signed then.

    Raises:
        ReleaseNotFoundError: it is not here.
        TrustError, ManifestError: its manifest, or the detached signature over it, cannot be believed.
        TooFewMirrorsError: fewer mirrors vouch for it than are demanded.
        CheckpointError: something is to be signed, and the release is here only in part.
        FileInTheWayError: the countersignature's file is there.
        StoreError: mirrors matter, and the store does not know the release's torrent; or a release is to be repaired
            that was not fetched.
        NetworkError: what is to be repaired did not come; resumable.
    """
    began = time.monotonic()
    home = home or Home.default()
    store = Store(home)
    demand = Demand.read(attestations, require_mirrors)
    signer = load_signer(sign_as, home, passphrase, waiting) if sign_as is not None else None
    trustee = Trustee(home, trust)
    located = locate(store, trustee, release)
    also = check_detached(detached, located.verified, trustee.known) if detached is not None else None
    manifest = located.verified.manifest
    heard, attester = Heard(), None
    if signer is not None or demand.attestations or demand.required:
        info_hash = torrent_of(store, located).v2_hash
        heard = demand.hear(located.verified, info_hash, trustee.known)
        if signer is not None:
            attester = Attester(located, info_hash, signer, out=out, force=force)
    reports = check_folder(
        located.folder,
        located.verified,
        layers=located.layers,
        locations=located.locations,
        observe=observe,
    )
    if repair is not None and (bad := {report.path for report in problems_of(reports)}):
        again = partial(
            verify,
            release,
            detached=detached,
            home=home,
            trust=trust,
            sign_as=sign_as,
            passphrase=passphrase,
            waiting=waiting,
            out=out,
            force=force,
            attestations=attestations,
            require_mirrors=require_mirrors,
            observe=observe,
        )
        mended = mend(located, bad, repair, home=home, trust=trust, observe=observe)
        return replace(again(), repaired=mended.received.swarm, seconds=time.monotonic() - began)
    record = located.record
    selected = record.selected if record is not None else None
    if selected is not None:
        # After `fetch --include` the files that were left out are not missing.
        reports = [r for r in reports if r.path in selected or r.problem != "missing"]
    if record is not None and record.complete:
        place = store.folder(record) / "receipts.json"
        if problems_of(reports):
            # A file may have been wrong before it had its receipt, or may have rotted: nobody is to trust that again.
            void_receipts(place, {report.path for report in reports if not report.ok})
        else:
            save_receipts(
                place,
                {e.path: Receipt.of(located.folder / e.path, e.pieces_root) for e in manifest.files},
            )
    ok = all(report.ok for report in reports)
    attestation = attester.attest(reports) if attester is not None and ok else None
    warnings = [*located.verified.warnings, *heard.warnings, *(attester.warnings if attester else ())]
    if selected is not None:
        warnings.append(f"only {len(selected)} of {len(manifest.files)} files were fetched")
    if located.parts:
        some = sorted(located.parts)
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        warnings.append(f"{some[0]}{more}: only pieces are here, staged; a plain fetch brings the rest")
    return Verified(
        ok=ok,
        release=located.verified.release,
        publisher=located.verified.fingerprint,
        publisher_name=located.verified.publisher_name,
        path=located.folder,
        files=tuple(_verdict(report) for report in reports),
        bytes=manifest.size,
        seconds=time.monotonic() - began,
        piece_length=manifest.torrent.piece_length,
        warnings=tuple(warnings),
        sshsig=also.fingerprint if also is not None else None,
        mirrors=heard.mirrors,
        attestation=attestation,
    )


def check_detached(path: Path, verified: VerifiedManifest, known: KnownPublishers) -> PublicKey:
    """Prove that a detached SSH signature over a release's manifest is by a key pinned for its publisher.

    Args:
        path: the signature, as `publish --sshsig` and `ssh-keygen -Y sign -n weightshare` write it.
        verified: the release.
        known: the publishers the user knows.

    Returns:
        The key that made it.

    Raises:
        BadSignatureError: there is none, or it does not hold over the manifest.
        RevokedError: its key was revoked.
        UnknownPublisherError: it holds, by a key that is not pinned for this publisher.
    """
    try:
        with path.expanduser().open("rb") as file:
            data = file.read(sshsig.MAX_SIGNATURE + 1)
    except OSError as error:
        raise BadSignatureError(
            f"The SSH signature {path} cannot be read: {error.strerror or error}.",
            hint="Get it from where the publisher posts it; weightshare publish --sshsig makes one.",
        ) from error
    key = sshsig.verify(data, verified.envelope)
    pin = known.find(key.fingerprint)
    if pin is not None and pin.revoked:
        raise RevokedError(
            f"The SSH signature is by the key {key.fingerprint}, which was revoked.",
            fingerprint=key.fingerprint,
            name=pin.name,
        )
    if verified.team is not None and key in verified.team.current.releases.keys:
        return key
    if pin is None or pin.name.casefold() != verified.pin.name.casefold():
        whose = f"you know it as {pin.name}" if pin is not None else "it is not pinned"
        name = verified.publisher_name or verified.manifest.publisher.name
        raise UnknownPublisherError(
            f"The SSH signature holds, but is by {key.fingerprint} ({whose}), not by a key pinned for {name}.",
            hint="Ask the publisher which keys are theirs.",
            fingerprint=key.fingerprint,
            public_key=key.openssh,
            name=name,
        )
    model = verified.manifest.model.id
    if not pin.covers(model):
        raise UnknownPublisherError(
            f"The SSH signature is by {key.fingerprint}, which you trust for {', '.join(pin.models)}, "
            f"not for {model}.",
            fingerprint=key.fingerprint,
            public_key=key.openssh,
            name=pin.name,
        )
    return key


def _verdict(report: FileReport) -> FileVerdict:
    return FileVerdict(
        path=report.path,
        ok=report.ok,
        problem=report.problem or None,
        bad_pieces=report.bad_pieces,
        expected=str(report.expected) if report.expected else None,
        found=str(report.found) if report.found else None,
    )
