"""edge: trained models onto small computers, safely, and watched there."""
