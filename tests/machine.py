"""What records say of the machine that they were made on."""
import os


def machine():
    """The processor's name and the number of cores."""
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else 'unknown'}, {os.cpu_count()} cores"
