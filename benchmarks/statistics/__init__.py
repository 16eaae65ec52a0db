"""Statistics of scores and times: intervals, paired comparisons, power. No module here reads or writes a file."""
