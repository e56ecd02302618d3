"""
What commands share: options, where things are, what is printed, how instances are driven.
"""
