"""From bytes to device: a verified release's shards as tensors, each proven before it is handed out.

`loader.state_dict` is the way in. `plan` says which files are shards · `opened` opens them without following
links · `proof` compares piece hashes with the signed roots · `provers` makes those hashes, in processes ·
`mapped` and `private` hold the bytes on the CPU · `leases` keeps writers away from a mapped file · `views` turns
bytes into tensors · `proven` reads small files.

On a device: `device` is what is asked of one, `cuda_device` how CUDA does it, `ring` the slots of host memory that
copies are made from · `cuda` holds shards that the device hashes, `staged` those that the processor hashes ·
`sha256.cu` is the kernel, `tree_launches` the launches that make a tree, `sha256_cuda` compiles and launches.

torch is imported by the modules that use it, never by this package itself.
"""
