from gancore.cli import main as main
