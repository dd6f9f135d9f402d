"""The command line of weightshare: click and rich live here and nowhere else.

`main` is the entry and the one place that turns errors into text and an exit status; `app` names the
commands and loads each when it is called; `options` holds what they share; `output`, `errors` and
`progress` do all the printing. No command imports the library before it runs, so `--help` stays quick.
"""
