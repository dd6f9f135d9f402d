"""Asking the Hub, with huggingface_hub: what a revision is, and which files it has."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from weightshare.errors import DiskError, DownloadError, HubUnreachableError
from weightshare.hub.cache import COMMIT, HubName
from weightshare.hub.listing import HubFile, Listing
from weightshare.hub.settings import HubSettings
from weightshare.version import __version__

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
_UNCHECKED = "HF_HUB_OFFLINE=1 publishes what is in the cache without asking the Hub."


@dataclass(frozen=True, slots=True)
class Revision:
    """What the Hub says of a revision.

    Attributes:
        commit: 40 hex.
        open: whether everybody may download it, without a token or consent.
    """

    commit: str
    open: bool


def revision_of(settings: HubSettings, name: HubName) -> Revision:
    """Ask what a branch, tag or commit is now.

    Raises:
        HubUnreachableError: no answer.
        DownloadError: there is no such repository or revision, or it is not for us.
    """
    with translated(settings, name):
        info = _api(settings).model_info(name.repo, revision=name.revision)
        if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha):
            raise HubUnreachableError(f"{settings.endpoint} says no commit of {name}.", url=settings.endpoint)
        return Revision(info.sha, not info.private and not info.gated)


def listing_of(settings: HubSettings, repo: str, commit: str) -> Listing:
    """Ask which files a commit has.

    Raises:
        HubUnreachableError, DownloadError: as for `revision_of`.
    """
    with translated(settings, HubName(repo, commit)):
        entries = _api(settings).list_repo_tree(repo, recursive=True, revision=commit)
        return {
            entry.path: HubFile(
                entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs is not None else None
            )
            for entry in entries
            if hasattr(entry, "blob_id")  # the others are folders
        }


def _api(settings: HubSettings) -> Any:
    from huggingface_hub import HfApi

    return HfApi(
        endpoint=settings.endpoint,
        token=settings.token or False,
        library_name="weightshare",
        library_version=__version__,
    )


@contextmanager
def translated(settings: HubSettings, name: HubName) -> Iterator[None]:
    """Turn what huggingface_hub raises into what says what to do next.

    Raises:
        HubUnreachableError, DownloadError, DiskError: instead.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{settings.endpoint}/{name.repo}"
    try:
        yield
    except GatedRepoError as error:
        raise DownloadError(
            f"{where} is given only to those who accepted its conditions there.",
            hint=f"Accept them in a browser, then set HF_TOKEN or run `hf auth login`. {_UNCHECKED}",
            url=where,
        ) from error
    except RepositoryNotFoundError as error:
        raise DownloadError(
            f"{where} does not exist, or is private and the token does not open it.",
            hint=f"Check the name and HF_TOKEN (`hf auth whoami`). {_UNCHECKED}",
            url=where,
        ) from error
    except RevisionNotFoundError as error:
        raise DownloadError(
            f"{where} has no revision {name.revision}.",
            hint=f"Name a branch, a tag or a commit of 40 hex digits. {_UNCHECKED}",
            url=where,
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        raise HubUnreachableError(
            f"{settings.endpoint} answered {status} when asked for {name}.",
            hint=f"Try again later. {_UNCHECKED}",
            url=where,
            status=status,
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        # What huggingface_hub says when it finds neither the Hub nor the files; the reason is its cause.
        raise _unreachable(settings, name, error.__cause__ or error) from error
    except OSError as error:
        if error.filename is not None or error.errno in _DISK:
            place = error.filename or settings.cache
            raise DiskError(
                f"{place} could not be written: {error.strerror}.",
                hint="To complete a snapshot the Hub's cache must be writable, and have room. "
                "--partial publishes what is in it.",
                path=str(place),
            ) from error
        raise _unreachable(settings, name, error) from error
    except Exception as error:
        # Its HTTP library is its own affair (httpx, httpx2, requests by version); all of them name their module.
        if not type(error).__module__.partition(".")[0].startswith(("httpx", "httpcore", "requests")):
            raise
        raise _unreachable(settings, name, error) from error


def _unreachable(settings: HubSettings, name: HubName, error: BaseException) -> HubUnreachableError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return HubUnreachableError(
        f"{settings.endpoint} could not be asked for {name}: {reason.rstrip('.')}.",
        hint=f"Check the connection and HF_ENDPOINT. {_UNCHECKED}",
        url=f"{settings.endpoint}/{name.repo}",
    )
