"""Who says so: keys, signatures, the publishers a user knows, and the gate that every release passes.

The only part that imports `cryptography`. What it hands out, `gate.VerifiedManifest`, is made nowhere else.
"""
