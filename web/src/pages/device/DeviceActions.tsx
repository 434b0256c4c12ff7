// SPDX-License-Identifier: Apache-2.0
import { Button, Dialog, DialogActions, DialogBody, DialogContent, DialogSurface, DialogTitle, Field, Input, Menu, MenuItem, MenuList, MenuPopover, MenuTrigger, MessageBar, MessageBarBody } from "@fluentui/react-components";
import { ChevronDownRegular, PlugDisconnectedRegular, TagRegular } from "@fluentui/react-icons";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { changeDevice, revokeDevice } from "../../api/queries";
import type { Device } from "../../api/types";
import { toastDone } from "../../components/toasts";
import { useCan } from "../../session";
import css from "./Device.module.css";

/** What can be done with a device. */
export function DeviceActions({ device }: { device: Device }) {
  const can = useCan("devices.manage");
  const [dialog, setDialog] = useState<"edit" | "revoke" | null>(null);
  if (!can) {
    return null;
  }
  return (
    <>
      <Menu>
        <MenuTrigger disableButtonEnhancement>
          <Button icon={<ChevronDownRegular />} iconPosition="after">Actions</Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            <MenuItem icon={<TagRegular />} onClick={() => setDialog("edit")}>Edit tags and group</MenuItem>
            <MenuItem icon={<PlugDisconnectedRegular />} disabled={device.offboarded} onClick={() => setDialog("revoke")}>Revoke identity</MenuItem>
          </MenuList>
        </MenuPopover>
      </Menu>
      {dialog === "edit" && <EditDialog device={device} onClose={() => setDialog(null)} />}
      {dialog === "revoke" && <RevokeDialog device={device} onClose={() => setDialog(null)} />}
    </>
  );
}

function useRefreshed(device: Device) {
  const client = useQueryClient();
  return () => Promise.all([client.invalidateQueries({ queryKey: ["device", device.id] }), client.invalidateQueries({ queryKey: ["devices"] })]);
}

function EditDialog({ device, onClose }: { device: Device; onClose: () => void }) {
  const [tags, setTags] = useState(device.tags.join(", "));
  const [group, setGroup] = useState(device.group);
  const refreshed = useRefreshed(device);
  const save = useMutation({
    mutationFn: () => changeDevice(device.id, { group: group.trim(), tags: [...new Set(tags.split(",").map((t) => t.trim()).filter(Boolean))] }),
    onSuccess: async () => {
      toastDone("Device changed");
      onClose();
      await refreshed();
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    save.mutate();
  };
  return (
    <Dialog open onOpenChange={(_, d) => !d.open && onClose()}>
      <DialogSurface>
        <form onSubmit={submit}>
          <DialogBody>
            <DialogTitle>Tags and group of {device.name}</DialogTitle>
            <DialogContent className={css.form}>
              {save.isError && <MessageBar intent="error"><MessageBarBody>{save.error.message}</MessageBarBody></MessageBar>}
              <Field label="Tags" hint="Separated by commas"><Input value={tags} onChange={(_, d) => setTags(d.value)} /></Field>
              <Field label="Group"><Input value={group} onChange={(_, d) => setGroup(d.value)} /></Field>
            </DialogContent>
            <DialogActions>
              <Button onClick={onClose}>Cancel</Button>
              <Button type="submit" appearance="primary" disabled={save.isPending}>Save</Button>
            </DialogActions>
          </DialogBody>
        </form>
      </DialogSurface>
    </Dialog>
  );
}

function RevokeDialog({ device, onClose }: { device: Device; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const refreshed = useRefreshed(device);
  const revoke = useMutation({
    mutationFn: () => revokeDevice(device.id, reason.trim()),
    onSuccess: async () => {
      toastDone("Identity revoked");
      onClose();
      await refreshed();
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    revoke.mutate();
  };
  return (
    <Dialog open modalType="alert" onOpenChange={(_, d) => !d.open && onClose()}>
      <DialogSurface>
        <form onSubmit={submit}>
          <DialogBody>
            <DialogTitle>Revoke the identity of {device.name}?</DialogTitle>
            <DialogContent className={css.form}>
              <p>The server refuses this device from now on. Its history stays. To report again the host must be enrolled again, with a new token.</p>
              {revoke.isError && <MessageBar intent="error"><MessageBarBody>{revoke.error.message}</MessageBarBody></MessageBar>}
              <Field label="Reason" hint="Goes into the audit log" required><Input value={reason} maxLength={500} onChange={(_, d) => setReason(d.value)} /></Field>
            </DialogContent>
            <DialogActions>
              <Button onClick={onClose}>Cancel</Button>
              <Button type="submit" appearance="primary" disabled={reason.trim() === "" || revoke.isPending}>Revoke</Button>
            </DialogActions>
          </DialogBody>
        </form>
      </DialogSurface>
    </Dialog>
  );
}
