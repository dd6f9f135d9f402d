"""`python -m weightshare_cli`: the same as `weightshare`."""

if __name__ == "__main__":
    import sys

    from weightshare_cli.main import main

    sys.exit(main())
