-- The request of wrk: the same to every side.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"kind":"user-request","payload":{"user_id":"ada","data":"what a user asks for"}}'
