"""From bytes to device: a verified release's shards as tensors, each proven before it is handed out.

`loader.state_dict` is the way in. `plan` says which files are shards · `opened` opens them without following
links · `proof` compares piece hashes with the signed roots · `provers` makes those hashes, in processes ·
`mapped` and `copied` hold the bytes · `leases` keeps writers away from a mapped file · `views` turns bytes
into tensors · `proven` reads small files. torch is imported by the modules that use it, never by this package
itself.
"""
