from gancore.registry.discovery import Broken as Broken
from gancore.registry.discovery import Declared as Declared
from gancore.registry.discovery import Plugin as Plugin
from gancore.registry.discovery import said as said
from gancore.registry.discovery import yielded as yielded
from gancore.registry.installed import Registry as Registry
from gancore.registry.installed import registry as registry
from gancore.registry.installed import remedy_for as remedy_for
