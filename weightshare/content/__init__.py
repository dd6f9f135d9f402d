"""The disk: what may be published, how it is hashed, and how it is checked again.

`checkpoint` reads a folder and refuses what must not be published · `safetensors_header` is the strict check
of a shard's header · `hashing` makes every digest of every file in one pass · `verifier` compares a folder
with a signed manifest · `receipts` remember which files were proven · `store` keeps the releases.
"""
