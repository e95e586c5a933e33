"""What a model's answers are worth, and by how much an artifact's are worth less.

metric     the metrics by name, and which one applies
scores     classes, vectors and quantities
detection  mean average precision
own        a function of the user's own
compare    the paired difference against float, with its interval
"""
