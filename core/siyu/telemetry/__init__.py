"""What siyu tells of itself while it runs.

logs      lines for people or JSON, with the request, brand, operation and job that they are about
metrics   figures for Prometheus, summed over the processes of a data directory
tracing   spans for OpenTelemetry, where it is configured
"""
