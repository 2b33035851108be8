"""The streams of /sync: one small file each, which answers what there is and what changed in an interval of the counter."""
