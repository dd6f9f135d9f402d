"""The swarm: the only package that knows libtorrent.

`networks` says who may be spoken to, `settings` how the engine is tuned, `session` owns the engine, `alerts` turns its
alerts into plain events, `states` decides from observations what a transfer is doing and why it waits, `fetching` and
`seeding` drive one transfer. libtorrent's own file names are never trusted: see `manifest.metainfo`.
"""
