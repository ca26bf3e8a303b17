from gancore.cli import main as main
from gancore.cli.printing import aligned as aligned
from gancore.cli.printing import say as say
