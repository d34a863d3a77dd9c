"""What a pipeline costs on AWS: prices, a model of the bill, a planner."""
