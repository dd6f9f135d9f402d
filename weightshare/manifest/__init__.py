"""The format, pure: no disk, no network, no third-party library.

Bytes come in, frozen dataclasses go out, and back again. Nothing here says whether a thing is *true*; that is
`weightshare.trust`.
"""
