"""From bytes to device: a verified release's shards as tensors, each proven before it is handed out.

`loader.state_dict` is the way in. `plan` says which files are shards · `opened` opens them without following
links · `proof` compares piece hashes with the signed roots · `provers` makes those hashes, in processes ·
`mapped`, `private` and `copied` hold the bytes · `slots` is memory shared with the processes · `reading_ahead` asks
the disk · `leases` keeps writers away from a mapped file, `faults` reports a page of one that is gone · `trusted` takes
receipts for a proof, where asked to · `views` turns bytes into tensors · `proven` reads small files.

torch is imported by the modules that use it, never by this package itself.
"""
