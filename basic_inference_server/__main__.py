"""`python -m basic_inference_server`."""

from basic_inference_server.cli import main

if __name__ == "__main__":
    main()
