"""Corrected rows of every domain on their way back: workbooks, answers, windows."""
