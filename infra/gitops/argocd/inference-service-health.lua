-- Health of an InferenceService (Standard mode), judged by what its status says of this very spec.
--
-- Argo CD's own script adds up conditions: right after a change it calls the status of the one before
-- healthy, and a canary that can't load is Progressing for ever. status.observedGeneration is no
-- remedy: KServe copies it from the Deployment. A canary's entry with the share that the spec asks for
-- can't be older than the spec, and one that the spec no longer names must be gone.

local function condition(kind)
  for _, each in ipairs(obj.status.conditions or {}) do
    if each.type == kind then return each end
  end
end

local function told(each)
  if each == nil then return "not reported yet" end
  return each.message or each.reason or (each.type .. " is " .. each.status)
end

local function failure(model)
  if model == nil then return nil end
  local transition = model.transitionStatus
  if transition ~= "BlockedByFailedLoad" and transition ~= "InvalidSpec" then return nil end
  local info = model.lastFailureInfo or {}
  -- The runtime is made just before; the controller may not have seen it yet.
  if info.reason == "RuntimeNotRecognized" then return nil end
  return transition .. ": " .. (info.message or info.reason or "no reason given")
end

local function judge()
  local predictor = obj.spec.predictor
  if predictor.model ~= nil and predictor.model.storageUri == nil then
    return "Suspended", "no model yet: the first rollout names one"
  end
  if obj.status == nil or obj.status.conditions == nil then
    return "Progressing", "the controller has not reported yet"
  end
  local status, wanted = obj.status, {}
  for _, arm in ipairs(obj.spec.canary or {}) do
    wanted[arm.predictor.name] = arm
  end
  local reported = {}
  for _, entry in ipairs(status.canaryStatuses or {}) do
    if wanted[entry.name] == nil then
      return "Progressing", "the canary " .. entry.name .. " is still reported"
    end
    reported[entry.name] = entry
  end
  local broken = failure(status.modelStatus)
  if broken ~= nil then return "Degraded", broken end
  local ready = condition("PredictorReady")
  if ready == nil or ready.status == "Unknown" then return "Progressing", told(ready) end
  if ready.status == "False" then
    -- With a URL it has been reachable before; without one it is starting.
    return status.url ~= nil and "Degraded" or "Progressing", told(ready)
  end
  for name, arm in pairs(wanted) do
    local entry = reported[name]
    if entry == nil then return "Progressing", "the canary " .. name .. " is not reported yet" end
    broken = failure(entry.modelStatus)
    if broken ~= nil then return "Degraded", "canary " .. name .. ": " .. broken end
    if not entry.ready then return "Progressing", "the canary " .. name .. " is not ready" end
    if (entry.trafficPercent or 0) ~= (arm.trafficPercent or 0) then
      return "Progressing", "the canary " .. name .. " has " .. (entry.trafficPercent or 0) .. " %, not "
        .. (arm.trafficPercent or 0) .. " %"
    end
  end
  local all = condition("Ready")
  if all ~= nil and all.status ~= "True" then
    return all.status == "False" and "Degraded" or "Progressing", told(all)
  end
  return "Healthy", "served as asked for"
end

local status, message = judge()
return { status = status, message = message }
