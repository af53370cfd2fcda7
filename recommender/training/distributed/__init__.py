"""Many processes, one model: who reads what, who computes what, and what they tell each other."""
