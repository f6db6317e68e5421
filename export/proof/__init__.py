"""The gate: does an artifact answer as the trained model does?"""
