"""The rivals that are trained by gradient: one file each, one small loop for all (`training.py`).

They are small and as published, but for two things that they share with the model they are
compared with: a state is asked only about what came strictly after all that it has read (the lines
of one basket never predict each other), and a learned start token answers people without history.
"""
