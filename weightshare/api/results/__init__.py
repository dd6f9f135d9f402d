"""What the verbs return.

`to_json` gives the documented keys; more may be added, none is removed within a major version.
"""

from __future__ import annotations

from weightshare.api.results.fetching import (
    Fetched,
    InHubCache,
    Preview,
    PreviewedFile,
    RangeReady,
    Received,
    StrangerInfo,
)
from weightshare.api.results.inspecting import Inspected, InspectedFile, InspectedTensor
from weightshare.api.results.library import ListedRelease, Removed, SeedStatus
from weightshare.api.results.limits import GivenRelease, LimitsShown, limits_json
from weightshare.api.results.publishing import HubStanding, Prepared, Published, Tally
from weightshare.api.results.running import Ran
from weightshare.api.results.scanning import Scanned, ScannedFile, ScannedPlace, ScannedRelease
from weightshare.api.results.verifying import FileVerdict, MirrorVouch, OmsFacts, Verified

__all__ = [
    "Fetched",
    "FileVerdict",
    "GivenRelease",
    "HubStanding",
    "InHubCache",
    "Inspected",
    "InspectedFile",
    "InspectedTensor",
    "LimitsShown",
    "ListedRelease",
    "MirrorVouch",
    "OmsFacts",
    "Prepared",
    "Preview",
    "PreviewedFile",
    "Published",
    "Ran",
    "RangeReady",
    "Received",
    "Removed",
    "Scanned",
    "ScannedFile",
    "ScannedPlace",
    "ScannedRelease",
    "SeedStatus",
    "StrangerInfo",
    "Tally",
    "Verified",
    "limits_json",
]
