"""What a run leaves behind: journal, report, plan."""
