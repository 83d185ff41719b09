"""``python -m wenmo`` is ``wenmo``."""

from wenmo.apps.cli.main import main

main()
