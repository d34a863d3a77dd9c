"""What people use instead, each written as its own documentation shows it.

Those that pin other versions run in a virtual environment of their own, as scripts that import nothing of this project.
"""
