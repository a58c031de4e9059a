"""`python -m basic_inference_server`."""

from basic_inference_server.startup import prepare_process

prepare_process()

from basic_inference_server.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
