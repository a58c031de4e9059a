"""A project in the style of the first specification, in words of our own."""

from __future__ import annotations

from pathlib import Path

from tests.support.projects import write_project

DEMO1 = """
from basic_inference_server import FlaskWorker

_CONFIG = {'WEIGHT': 0, 'BIAS': 0, 'PLACEHOLDER_MODEL': True}

__WORKER_VER__ = '1.2.1'


class Placeholder():
  def __init__(self, log):
    self.log = log
    self.log.P("******** placeholder *********", color='r')
    return

  def get_similar(self, **kwargs):
    return "same-word-always"


class DummyModelDemo1Worker(FlaskWorker):
  def __init__(self, **kwargs):
    super(DummyModelDemo1Worker, self).__init__(prefix_log='[D1]', **kwargs)
    return

  def _load_model(self):
    self.model = Placeholder(log=self.log)
    return

  def _pre_process(self, inputs):
    if 'INPUT_VALUE' not in inputs.keys():
      raise ValueError('INPUT_VALUE should be defined in inputs')
    return inputs['INPUT_VALUE'], inputs.get('LANGUAGE', inputs.get('language', 'ro'))

  def _predict(self, prep_inputs):
    self._create_notification(
      notif='log',
      msg='Predicting on usr_input: {} using {}'.format(prep_inputs, self.config_data)
    )
    word, lang = prep_inputs
    return self.model.get_similar(word=word, lang=lang), prep_inputs

  def _post_process(self, pred):
    pred, (inputs, lang) = pred
    return {
      'dummy_model_a_predict': pred,
      'inputs': {'INPUT_VALUE': inputs, 'LANGUAGE': lang},
      'worker_ver': __WORKER_VER__,
    }
"""

DEMO2 = """
from basic_inference_server import FlaskWorker

_CONFIG = {'WEIGHT': 0, 'BIAS': 0}


class DummyModelDemo2Worker(FlaskWorker):
  def __init__(self, **kwargs):
    super(DummyModelDemo2Worker, self).__init__(prefix_log='[D2]', **kwargs)
    return

  def _load_model(self):
    return

  def _pre_process(self, inputs):
    if 'INPUT_VALUE' not in inputs.keys():
      raise ValueError('INPUT_VALUE should be defined in inputs')
    return inputs['INPUT_VALUE']

  def _predict(self, prep_inputs):
    self._create_notification(notif='log', msg='Predicting on {}'.format(prep_inputs))
    val = int(prep_inputs)
    return '{}*{} + {} = {} PREDICTED'.format(
      prep_inputs, self.cfg_weight, self.cfg_bias, val * self.cfg_weight + self.cfg_bias)

  def _post_process(self, pred):
    return {'dummy_model_predict': pred}
"""

SUPPORT = """
import argparse
import json
from time import sleep, time

import psutil
import requests

import basic_inference_server as BIS


class Monitor:
  def __init__(self, name, log):
    self.log, self.name = log, name
    self.interval = self.log.config_data.get('PING_INTERVAL', 1)
    self.url = 'http://{}:{}{}'.format(
      log.config_data['SERVER'], log.config_data['SERVER_PORT'], log.config_data['SERVER_PATH'])
    return

  def execute(self):
    total = psutil.virtual_memory().total / 1024 ** 3
    data = dict(msg="Total Mem: {:.1f}GB".format(total), total_memory=total, SIGNATURE=self.name)
    try:
      requests.post(self.url, json=data)
    except Exception as e:
      self.log.P("Error while trying to deliver to {}: {}".format(self.url, e), color='r')
    return

  def run(self):
    tick = time()
    while True:
      while (time() - tick) < self.interval:
        sleep(0.1)
      self.execute()
      tick = time()
    return


if __name__ == '__main__':
  parser = argparse.ArgumentParser()
  parser.add_argument('--config_endpoint', type=str, default='{}')
  args = parser.parse_args()
  print("Using --config_endpoint: {}".format(args.config_endpoint))
  config_data = json.loads(args.config_endpoint)
  log = BIS.Logger(
    lib_name="SPRC", base_folder=".", app_folder="_cache", TF_KERAS=False, max_lines=3000)
  log.update_config_data(config_data)
  log.P("Using config_data: {}".format(json.dumps(log.config_data, indent=2)))
  Monitor(name=config_data.get("SUPPORT_NAME", "SUPPORT"), log=log).run()
"""

RUN_GATEWAY = """
import argparse

from basic_inference_server import FlaskGateway, Logger

if __name__ == '__main__':
  parser = argparse.ArgumentParser()
  parser.add_argument('-b', '--base_folder', type=str, default='.')
  parser.add_argument('-a', '--app_folder', type=str, default='_cache')
  parser.add_argument('--host', type=str, default='0.0.0.0')
  parser.add_argument('--port', type=int, default=5002)
  args = parser.parse_args()
  log = Logger(
    lib_name='AIAPP', config_file='config_gateway.txt', base_folder=args.base_folder,
    app_folder=args.app_folder, TF_KERAS=False
  )
  gtw = FlaskGateway(
    log=log, workers_location='endpoints', workers_suffix='Worker', host=args.host,
    port=args.port, server_execution_path='/run'
  )
"""

ENDPOINTS = {
    "dummy_model_demo1": {"NR_WORKERS": 2, "HOST": "127.0.0.1"},
    "dummy_model_demo1-bis": {
        "SERVER_CLASS": "dummy_model_demo1",
        "NR_WORKERS": 2,
        "HOST": "127.0.0.1",
        "DISABLED": True,
    },
    "dummy_model_demo2": {"NR_WORKERS": 2, "HOST": "127.0.0.1"},
    "support_process": {"HOST": "NO_HOST", "PING_INTERVAL": 1},
}


def write_seed_like_project(folder: Path) -> Path:
    """Write configuration, endpoints, support process and start file; return the folder."""
    files = {"dummy_model_demo1": DEMO1, "dummy_model_demo2": DEMO2, "support_process": SUPPORT}
    write_project(
        folder,
        ENDPOINTS,
        files,
        DEFAULT_SERVER="dummy_model_demo1",
        NO_STARTUP_WAIT=True,
        SERVER_NAME="base_server",
    )
    (folder / "run_gateway.py").write_text(RUN_GATEWAY.lstrip())
    (folder / "app_ver.py").write_text('__VER__ = "2.3.2"\n')
    return folder
