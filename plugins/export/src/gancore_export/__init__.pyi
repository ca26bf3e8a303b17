from gancore_export.animations import write_animation as write_animation
from gancore_export.exporting import Exported as Exported
from gancore_export.exporting import export as export
from gancore_export.hub import upload as upload
from gancore_export.walking import Walk as Walk
from gancore_export.walking import walk as walk
