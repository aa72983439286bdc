"""What would this command do, and may it? Commands become effects, effects become a decision; pure, nothing is looked up."""
