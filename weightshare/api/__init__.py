"""The verbs: each joins the parts for one job and returns a frozen result.

The only package that knows all others. Modules are named for the job, `results` holds what they return, `home` where
things are kept.
"""
