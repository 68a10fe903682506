from grid_fixtures import globals_untouched, one_thread, own_folders

__all__ = ["globals_untouched", "one_thread", "own_folders"]
