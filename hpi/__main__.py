"""``python -m hpi`` is the ``hpi`` command."""

if __name__ == "__main__":
    try:
        from hpi.cli import main
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    main()
